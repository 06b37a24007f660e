package main

import (
	"net"
	"reflect"
	"strconv"
	"sync"
	"unsafe"

	"github.com/hashicorp/memberlist"
)

// row is one line of the member table, dead and left ones included.
type row struct {
	Name        string `json:"name"`
	Address     string `json:"address"`
	State       string `json:"state"`
	Incarnation uint64 `json:"incarnation"`
}

var stateNames = []string{"alive", "suspect", "dead", "left"}

// table reads what memberlist keeps to itself: Members() hides who is suspect, and Node.State is
// never set. The module's version is pinned, so its private fields are known.
func table(list *memberlist.Memberlist) []row {
	private := reflect.ValueOf(list).Elem()
	lock := (*sync.RWMutex)(private.FieldByName("nodeLock").Addr().UnsafePointer())
	lock.RLock()
	defer lock.RUnlock()
	nodes := private.FieldByName("nodes")
	rows := make([]row, 0, nodes.Len())
	for i := 0; i < nodes.Len(); i++ {
		state := nodes.Index(i).Elem()
		node := state.FieldByName("Node")
		ip := net.IP(node.FieldByName("Addr").Bytes()).String()
		rows = append(rows, row{
			Name:        node.FieldByName("Name").String(),
			Address:     net.JoinHostPort(ip, strconv.FormatUint(node.FieldByName("Port").Uint(), 10)),
			State:       stateNames[state.FieldByName("State").Int()],
			Incarnation: state.FieldByName("Incarnation").Uint(),
		})
	}
	return rows
}

// nodeState begins as memberlist's type of that name does.
type nodeState struct {
	memberlist.Node
	Incarnation uint32
	State       memberlist.NodeStateType
}

// stateOf is for event callbacks, which hand out the Node at the head of its nodeState.
func stateOf(node *memberlist.Node) string {
	return stateNames[(*nodeState)(unsafe.Pointer(node)).State]
}
