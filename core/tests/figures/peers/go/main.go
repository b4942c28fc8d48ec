// Go's concurrency.Election: see ../README.md. Observe tells who leads.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

type one struct {
	name     string
	session  *concurrency.Session
	election *concurrency.Election
	end      context.CancelFunc
	leads    bool
	leader   string
	since    int64
}

var (
	client  *clientv3.Client
	mutex   sync.Mutex
	all     = map[string]*one{}
	saidAll bool
	count   int
	key     string
	number  string
	fresh   int
)

func now() int64 {
	var time syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&time)), 0)
	return time.Nano()
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// The caller holds the mutex.
func (c *one) knows(leader string) {
	if c.leader == leader {
		return
	}
	c.leader, c.since = leader, now()
	if saidAll || len(all) < count {
		return
	}
	for _, other := range all {
		if other.leader == "" {
			return
		}
	}
	saidAll = true
	fmt.Println("@ all")
}

func add() {
	ctx, end := context.WithCancel(context.Background())
	mutex.Lock()
	c := &one{name: number + "-" + strconv.Itoa(fresh), end: end}
	fresh++
	all[c.name] = c
	mutex.Unlock()
	go func() {
		session, err := concurrency.NewSession(client, concurrency.WithTTL(10))
		check(err)
		c.session, c.election = session, concurrency.NewElection(session, key)
		go func() {
			for seen := range c.election.Observe(ctx) {
				mutex.Lock()
				c.knows(string(seen.Kvs[0].Value))
				mutex.Unlock()
			}
		}()
		check(c.election.Campaign(ctx, c.name))
		mutex.Lock()
		c.leads = true
		c.knows(c.name)
		fmt.Println("@ elected", now(), c.name)
		mutex.Unlock()
	}()
}

func stop() {
	mutex.Lock()
	defer mutex.Unlock()
	for name, c := range all {
		if c.leads {
			delete(all, name)
			begun := now()
			go func() {
				check(c.election.Resign(context.Background()))
				c.end()
				check(c.session.Close())
			}()
			fmt.Println("@ stopped", begun)
			return
		}
	}
}

func told(name string) {
	mutex.Lock()
	defer mutex.Unlock()
	words := []string{"@ told"}
	for _, c := range all {
		if c.leader == name {
			words = append(words, strconv.FormatInt(c.since, 10))
		}
	}
	fmt.Println(strings.Join(words, " "))
}

// On a session that is open, as those of others are whose elections share one.
func startOnce(on string, session *concurrency.Session) {
	begun := now()
	election := concurrency.NewElection(session, on)
	check(election.Campaign(context.Background(), "one"))
	fmt.Println("@ started", now()-begun)
	check(election.Resign(context.Background()))
}

func main() {
	var err error
	key, number = os.Args[2], os.Args[3]
	count, err = strconv.Atoi(os.Args[4])
	check(err)
	fmt.Println("@ begun", now())
	client, err = clientv3.New(clientv3.Config{Endpoints: []string{os.Args[1]}})
	check(err)
	for range count {
		add()
	}
	var shared *concurrency.Session
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "stop":
			stop()
		case "again":
			add()
		case "told":
			told(rest)
		case "start":
			if shared == nil {
				shared, err = concurrency.NewSession(client, concurrency.WithTTL(10))
				check(err)
			}
			startOnce(rest, shared)
		}
	}
}
