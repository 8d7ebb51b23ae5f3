package query

import (
	"errors"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/chronik-stream/chronik/query/gate"
	"github.com/chronik-stream/chronik/query/peers"
)

// handedOnWait is how long a query waits for a place where its topic is at hand:
// longer than a few queries run. Elsewhere its topic has to be read anew, and is
// then read twice from the brokers until nobody asks there.
const handedOnWait = 2 * time.Second

// elsewhere returns a *peers.Elsewhere when another node is preferred for the
// plan's first topic: it has its files and its tail, or will have.
func (n *Node) elsewhere(plan *gate.Plan, at peers.Place) error {
	if n.peers == nil || at != peers.Anywhere || len(plan.Tables) == 0 {
		return nil
	}
	if m, other := n.peers.Preferred(plan.Tables[0].Topic); other {
		return &peers.Elsewhere{Member: m}
	}
	return nil
}

// placeOf reads from a request whether it was handed on.
func placeOf(c *gin.Context) peers.Place {
	if c.GetHeader(peers.HopHeader) != "" {
		return peers.HandedOn
	}
	return peers.Anywhere
}

// openFor opens a statement for an HTTP request, whose body was read already; nil
// without an error when another node has answered.
func (n *Node) openFor(c *gin.Context, open func(peers.Place) (*cursor, error), body []byte) (*cursor, error) {
	cursor, err := open(placeOf(c))
	var elsewhere *peers.Elsewhere
	if !errors.As(err, &elsewhere) {
		return cursor, err
	}
	if n.peers.Forward(c.Writer, c.Request, body, elsewhere.Member) {
		return nil, nil
	}
	return open(peers.Here)
}
