/* Which option a mistyped one was meant to be. */

#include "manual.h"

#include <ctype.h>
#include <string.h>

enum { LONGEST = 40 };

/* Names that flock, consul lock and our examples have for something that lead calls otherwise. */
static const char *const elsewhere[][2] = {
    {"timeout", "wait"}, {"nonblock", "wait 0"}, {"v2", "api v2"}, {"v3", "api v3"}, {"V", "version"},
};

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* How many letters are to be inserted, left out, replaced or swapped with their neighbour to make one of the other. */
static size_t distance(const char *one, const char *other) {
    size_t rows[3][LONGEST + 1], *before = rows[0], *above = rows[1], *row = rows[2], width = strlen(other);
    for (size_t x = 0; x <= width; x++)
        above[x] = x;
    for (size_t y = 1; y <= strlen(one); y++) {
        row[0] = y;
        for (size_t x = 1; x <= width; x++) {
            row[x] = least(least(above[x], row[x - 1]) + 1, above[x - 1] + (one[y - 1] != other[x - 1]));
            if (y > 1 && x > 1 && one[y - 1] == other[x - 2] && one[y - 2] == other[x - 1])
                row[x] = least(row[x], before[x - 2] + 1);
        }
        size_t *spare = before;
        before = above;
        above = row;
        row = spare;
    }
    return above[width];
}

static bool begins(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

/* How far a name is from an option's: by letters, else as the beginning of it or the other way round; 0: too far. */
static size_t farness(const char *name, const char *option) {
    size_t letters = distance(name, option), length = strlen(name);
    if (letters <= 1 + length / 5 && length > 1)
        return letters + 1;
    bool is_beginning = begins(option, name) || (strlen(option) >= 3 && begins(name, option));
    return is_beginning && length != 2 ? LONGEST : 0;
}

const char *nearest_option(const char *given, size_t length) {
    char name[LONGEST + 1];
    const char *nearest = NULL;
    size_t best = 0;
    if (length == 0 || length > LONGEST)
        return NULL;
    for (size_t at = 0; at < length; at++)
        name[at] = length == 1 ? given[at] : given[at] == '_' ? '-' : (char)tolower((unsigned char)given[at]);
    name[length] = '\0';
    for (size_t at = 0; at < sizeof elsewhere / sizeof *elsewhere; at++)
        if (strcmp(name, elsewhere[at][0]) == 0)
            return elsewhere[at][1];
    for (int id = 0; id < OPTIONS; id++) {
        size_t far = farness(name, manual[id].name);
        if (far != 0 && (best == 0 || far < best)) {
            best = far;
            nearest = manual[id].name;
        }
    }
    return nearest;
}
