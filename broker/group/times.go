package group

import "time"

// Times of a group of the consumer protocol.
type Times struct {
	Session   time.Duration // how long a member may be silent
	Heartbeat time.Duration // after which one is to be heard
}

// times are those of a group: what is set on it, else what holds for all.
func (c *Coordinator) times(group string) Times {
	t := Times{Session: c.limits.ConsumerSessionTimeout, Heartbeat: c.interval}
	if c.timesOf == nil {
		return t
	}
	set := c.timesOf(group)
	if set.Session > 0 {
		t.Session = set.Session
	}
	if set.Heartbeat > 0 {
		t.Heartbeat = set.Heartbeat
	}
	return t
}

// limitsOf are the limits of a group.
func (c *Coordinator) limitsOf(group string) Limits {
	l := c.limits
	l.ConsumerSessionTimeout = c.times(group).Session
	return l
}
