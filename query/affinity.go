package query

import (
	"errors"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/chronik-stream/chronik/query/gate"
	"github.com/chronik-stream/chronik/query/peers"
	"github.com/chronik-stream/chronik/query/places"
)

// handedOnWait is how long a query waits for a place where its topic is at hand:
// longer than a few queries run. Elsewhere its topic has to be read anew, and is
// then read twice from the brokers until nobody asks there.
const handedOnWait = 2 * time.Second

// handedOnSearchWait is the same of a search. Searches take milliseconds: where one
// waits for longer, its topic is asked for more than one node can bear.
const handedOnSearchWait = 250 * time.Millisecond

// elsewhere returns a *peers.Elsewhere when another node is preferred for the
// plan's first topic: it has its files and its tail, or will have.
func (n *Node) elsewhere(plan *gate.Plan, at peers.Place) error {
	if len(plan.Tables) == 0 {
		return nil
	}
	return n.elsewhereFor(plan.Tables[0].Topic, at)
}

func (n *Node) elsewhereFor(topic string, at peers.Place) error {
	if n.peers == nil || at != peers.Anywhere {
		return nil
	}
	if m, other := n.peers.Preferred(topic); other {
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

// near has a search of a topic, whose body was read already, answered by the node
// that has the topic at hand; false: it is to be answered here, soon or not at all
// if another node handed it on.
func (n *Node) near(c *gin.Context, topic string, body []byte) (answered bool) {
	if _, known := n.config.Catalog.Topic(topic); !known {
		n.catchUp(c.Request.Context()) // what it brings is seen below
	}
	at := placeOf(c)
	if at == peers.HandedOn {
		c.Request = c.Request.WithContext(places.Hurried(c.Request.Context(), handedOnSearchWait))
	}
	var elsewhere *peers.Elsewhere
	return errors.As(n.elsewhereFor(topic, at), &elsewhere) && n.peers.Forward(c.Writer, c.Request, body, elsewhere.Member)
}

// handOn does what an HTTP request asks for, whose body was read already, unless it
// is to be done elsewhere and another node has answered.
func handOn[T any](n *Node, c *gin.Context, body []byte, do func(peers.Place) (T, error)) (result T, answered bool, err error) {
	result, err = do(placeOf(c))
	var elsewhere *peers.Elsewhere
	if !errors.As(err, &elsewhere) {
		return result, false, err
	}
	if n.peers.Forward(c.Writer, c.Request, body, elsewhere.Member) {
		return result, true, nil
	}
	result, err = do(peers.Here)
	return result, false, err
}
