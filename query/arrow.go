package query

import (
	"github.com/gin-gonic/gin"

	"github.com/chronik-stream/chronik/query/answer"
)

// postArrow is POST /_arrow/query: a query that is answered as an Arrow IPC
// stream whatever the client accepts, for clients without gRPC.
func (n *Node) postArrow(c *gin.Context) { n.answer(c, answer.FormatArrow) }
