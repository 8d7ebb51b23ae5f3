package query

import (
	"github.com/gin-gonic/gin"

	"github.com/chronik-stream/chronik/query/auth"
)

// anonymous is who asks a node that knows no users.
const anonymous = "anonymous"

const principalKey = "principal"

// authenticate learns who asks. A request that was handed on shows what its
// client did, and is asked again.
func (n *Node) authenticate(c *gin.Context) {
	if n.config.Auth == nil {
		return
	}
	shown, err := auth.ParseHeader(c.GetHeader("Authorization"))
	var principal auth.Principal
	if err == nil {
		principal, err = n.config.Auth.Authenticate(c.Request.Context(), shown)
	}
	if err != nil {
		n.fail(c, err)
		return
	}
	c.Set(principalKey, principal.Name)
}

// principalOf is who asks.
func principalOf(c *gin.Context) string {
	if name := c.GetString(principalKey); name != "" {
		return name
	}
	return anonymous
}
