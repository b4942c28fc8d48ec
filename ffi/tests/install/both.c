/* Two Rust libraries in one program: neither knows of the other. */

#include <etcd_leader.h>
#include <stdio.h>
#include <string.h>

int other_panics(void);

int main(void) {
    el_config config = {0};
    el_election *election = NULL;
    for (int round = 1; round < 4; round++) {
        if (el_start(&config, sizeof config, &election) != EL_INVALID || strstr(el_last_error(), "key is NULL") == NULL)
            return 1;
        int heard = other_panics();
        if (heard != round) {
            printf("heard of %d panics in round %d\n", heard, round);
            return 1;
        }
    }
    return 0;
}
