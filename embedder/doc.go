// Package embedder turns texts into vectors: embeddings, made by a model that
// somebody else runs (an OpenAI-compatible service, any HTTP service) or that
// lies on this machine's disk.
//
// A Service is a process's one way to providers. Open gives the Embedder of a
// topic. Embed takes any number of texts and any number of callers: those that
// wait together share requests, at most so many are under way, and what fails for
// a while is tried again with growing pauses, or when the provider said. All that
// goes to one endpoint shares its rates, the pauses that it asked for and a
// circuit breaker. Query embeds what is searched for: it does not wait behind
// documents, and is remembered.
//
// It promises that a vector belongs to its text, has the model's dimensions and
// is finite; anything else is the provider's error. It holds no more texts than
// its callers gave it, and bounds what it reads from a provider. It does not
// decide when to try again what failed for good: that is the caller's.
package embedder
