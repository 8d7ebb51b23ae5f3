package query

import (
	"errors"
	"fmt"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/query/gate"
	"github.com/chronik-stream/chronik/query/peers"
)

// place says which node may answer a statement.
type place int

const (
	here     place = iota // this one
	anywhere              // this one or another: who asks can hand it on
	handedOn              // this one, soon or not at all: another one handed it on
)

// handedOnWait is how long a query waits for a place where its topic is at hand:
// longer than most queries run. Elsewhere its topic has to be read anew.
const handedOnWait = 250 * time.Millisecond

// elsewhereError says that another node is to answer.
type elsewhereError struct{ member metastore.Member }

func (e *elsewhereError) Error() string {
	return fmt.Sprintf("query node %s is to answer", e.member.ID)
}

// elsewhere returns an *elsewhereError when another node is preferred for the
// plan's first topic: it has its files and its tail, or will have.
func (n *Node) elsewhere(plan *gate.Plan, at place) error {
	if n.peers == nil || at != anywhere || len(plan.Tables) == 0 {
		return nil
	}
	if m, other := n.peers.Preferred(plan.Tables[0].Topic); other {
		return &elsewhereError{m}
	}
	return nil
}

// placeOf reads from a request whether it was handed on.
func placeOf(c *gin.Context) place {
	if c.GetHeader(peers.HopHeader) != "" {
		return handedOn
	}
	return anywhere
}

// openFor opens a statement for an HTTP request, whose body was read already; nil
// without an error when another node has answered.
func (n *Node) openFor(c *gin.Context, open func(place) (*cursor, error), body []byte) (*cursor, error) {
	cursor, err := open(placeOf(c))
	var elsewhere *elsewhereError
	if !errors.As(err, &elsewhere) {
		return cursor, err
	}
	if n.peers.Forward(c.Writer, c.Request, body, elsewhere.member) {
		return nil, nil
	}
	return open(here)
}
