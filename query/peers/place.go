package peers

import (
	"fmt"

	"github.com/chronik-stream/chronik/metastore"
)

// Place says which node may answer a statement.
type Place int

// The places.
const (
	Here     Place = iota // this node
	Anywhere              // this node or another: who asks can hand it on
	HandedOn              // this node, soon or not at all: another one handed it on
)

// Elsewhere is the error that another node is to answer. Only what may be
// answered Anywhere gets it, before anything was done.
type Elsewhere struct{ Member metastore.Member }

// Error implements error.
func (e *Elsewhere) Error() string { return fmt.Sprintf("query node %s is to answer", e.Member.ID) }
