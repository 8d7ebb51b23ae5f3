package group

// Coordinator runs the groups of this broker.
type Coordinator struct{}
