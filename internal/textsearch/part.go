package textsearch

// PartError is an error of reading one of the parts.
type PartError struct {
	Part int // in Searcher.Parts
	Err  error
}

// Error implements error.
func (e *PartError) Error() string { return e.Err.Error() }

// Unwrap gives errors.Is and errors.As what was wrong.
func (e *PartError) Unwrap() error { return e.Err }

// ofPart says which part an error is about.
func ofPart(part int, err error) error {
	if err == nil {
		return nil
	}
	return &PartError{part, err}
}

// over reports whether the caller wants what there is.
func (s *Searcher) over() bool {
	select {
	case <-s.Until:
		return true
	default:
		return false
	}
}
