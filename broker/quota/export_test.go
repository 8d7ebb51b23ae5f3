package quota

// Size is how many accounts are remembered.
func Size(a *Accounts) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.byKey)
}
