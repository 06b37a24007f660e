// gopeer is one hashicorp/memberlist node, driven by JSON lines on standard input and observed
// through JSON lines on standard output. It ends when its standard input does.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

var pollInterval time.Duration

// order is one line of input; the answer repeats its id.
type order struct {
	ID        int      `json:"id"`
	Do        string   `json:"do"`
	Addresses []string `json:"addresses"`
	Key       string   `json:"key"`
	Timeout   float64  `json:"timeout"`
}

// peer holds the node and the one writer of standard output.
type peer struct {
	lock    sync.Mutex
	out     *json.Encoder
	list    *memberlist.Memberlist
	keyring *memberlist.Keyring
}

func (p *peer) say(fields map[string]any) {
	p.lock.Lock()
	defer p.lock.Unlock()
	// Nobody reads any more: the harness is gone, so are we.
	if err := p.out.Encode(fields); err != nil {
		os.Exit(1)
	}
}

// Write takes memberlist's log, one line a call.
func (p *peer) Write(line []byte) (int, error) {
	p.say(map[string]any{"event": "log", "text": strings.TrimSpace(string(line))})
	return len(line), nil
}

// The three below are called with memberlist's node lock held.

func (p *peer) NotifyJoin(node *memberlist.Node) {
	p.say(map[string]any{"event": "join", "name": node.Name})
}

func (p *peer) NotifyLeave(node *memberlist.Node) {
	p.say(map[string]any{"event": stateOf(node), "name": node.Name})
}

func (p *peer) NotifyUpdate(node *memberlist.Node) {
	p.say(map[string]any{"event": "update", "name": node.Name})
}

// watch reports suspects and their recovery, of which memberlist notifies nobody.
func (p *peer) watch(interval time.Duration) {
	suspects := map[string]bool{}
	for ; ; time.Sleep(interval) {
		for _, row := range table(p.list) {
			suspect := row.State == "suspect"
			if suspect && !suspects[row.Name] {
				p.say(map[string]any{"event": "suspect", "name": row.Name})
			}
			if row.State == "alive" && suspects[row.Name] {
				p.say(map[string]any{"event": "recovered", "name": row.Name})
			}
			suspects[row.Name] = suspect
		}
	}
}

func (p *peer) obey(o order) (map[string]any, error) {
	switch o.Do {
	case "join":
		joined, err := p.list.Join(o.Addresses)
		return map[string]any{"joined": joined}, err
	case "leave":
		return nil, p.list.Leave(time.Duration(o.Timeout * float64(time.Second)))
	case "members":
		return map[string]any{"members": table(p.list)}, nil
	case "stats":
		return map[string]any{"health": p.list.GetHealthScore()}, nil
	case "keys", "install", "use", "remove":
		return p.key(o)
	}
	return nil, fmt.Errorf("no such order: %q", o.Do)
}

func (p *peer) key(o order) (map[string]any, error) {
	if p.keyring == nil {
		return nil, fmt.Errorf("not encrypted")
	}
	key, err := base64.StdEncoding.DecodeString(o.Key)
	switch {
	case err != nil:
	case o.Do == "install":
		err = p.keyring.AddKey(key)
	case o.Do == "use":
		err = p.keyring.UseKey(key)
	case o.Do == "remove":
		err = p.keyring.RemoveKey(key)
	}
	return map[string]any{"keys": len(p.keyring.GetKeys())}, err
}

func (p *peer) serve() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var o order
		answer, err := map[string]any(nil), json.Unmarshal(lines.Bytes(), &o)
		if err == nil {
			answer, err = p.obey(o)
		}
		if answer == nil {
			answer = map[string]any{}
		}
		answer["answer"] = o.ID
		if err != nil {
			answer["error"] = err.Error()
		}
		p.say(answer)
	}
}

// keyFlags collects -key, which may be given several times; the first is the primary one.
type keyFlags [][]byte

func (k *keyFlags) String() string { return "" }

func (k *keyFlags) Set(text string) error {
	key, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		*k = append(*k, key)
	}
	return err
}

func profile(name string) (*memberlist.Config, error) {
	switch name {
	case "lan":
		return memberlist.DefaultLANConfig(), nil
	case "wan":
		return memberlist.DefaultWANConfig(), nil
	case "local":
		return memberlist.DefaultLocalConfig(), nil
	}
	return nil, fmt.Errorf("no such profile: %q", name)
}

func configure() (*memberlist.Config, error) {
	var keys keyFlags
	flag.DurationVar(&pollInterval, "poll", 10*time.Millisecond, "how often to look for suspects")
	flag.Var(&keys, "key", "gossip key, base64, may be repeated")
	name := flag.String("name", "", "node name")
	bind := flag.String("bind", "127.0.0.1", "IP address")
	port := flag.Int("port", 7946, "UDP and TCP port")
	label := flag.String("label", "", "label of every packet and stream")
	preset := flag.String("profile", "lan", "lan, wan or local")
	probe := flag.Duration("probe-interval", 0, "overrides the profile's")
	timeout := flag.Duration("probe-timeout", 0, "overrides the profile's")
	gossip := flag.Duration("gossip-interval", 0, "overrides the profile's")
	pushPull := flag.Duration("push-pull-interval", 0, "overrides the profile's")
	flag.Parse()
	config, err := profile(*preset)
	if err != nil {
		return nil, err
	}
	config.Name, config.BindAddr, config.BindPort = *name, *bind, *port
	config.AdvertisePort, config.Label = *port, *label
	override(&config.ProbeInterval, *probe)
	override(&config.ProbeTimeout, *timeout)
	override(&config.GossipInterval, *gossip)
	override(&config.PushPullInterval, *pushPull)
	if len(keys) > 0 {
		config.Keyring, err = memberlist.NewKeyring(keys, keys[0])
	}
	return config, err
}

func override(setting *time.Duration, value time.Duration) {
	if value != 0 {
		*setting = value
	}
}

func main() {
	p := &peer{out: json.NewEncoder(os.Stdout)}
	config, err := configure()
	if err != nil {
		log.Fatal(err)
	}
	config.Events, config.Logger = p, log.New(p, "", 0)
	p.keyring = config.Keyring
	if p.list, err = memberlist.Create(config); err != nil {
		log.Fatal(err)
	}
	p.say(map[string]any{"event": "ready", "name": config.Name})
	go p.watch(pollInterval)
	p.serve()
}
