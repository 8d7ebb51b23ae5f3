package config

// ampleMemory is what a container has to have for the defaults of the budgets of
// memory. They bound several times what a process usually takes; all of them at
// once, and as much again for the copies of requests and answers that none of them
// counts, are to fit into half of it.
const ampleMemory = 8 << 30

// fitMemory lowers the defaults of budgets of memory in a container that has so
// much, 0 for no limit: a process that keeps to its budgets is not killed there.
// What was given stays as it is.
func (c *Config) fitMemory(container int64) {
	if container == 0 {
		return
	}
	lower := func(key string, budget *Bytes, most int64) {
		if c.Source(key).Name == sourceDefault {
			*budget = min(*budget, Bytes(most))
		}
	}
	for key, budget := range map[string]*Bytes{
		"kafka.connection_bytes_max": &c.Kafka.ConnBytes,
		"kafka.frame_bytes_max":      &c.Kafka.FrameBytes,
		"kafka.answer_bytes_max":     &c.Kafka.AnswerBytes,
		"kafka.cold_bytes_max":       &c.Kafka.ColdBytes,
		"wal.waiting_bytes_max":      &c.WAL.WaitingBytes,
		"tail.bytes_max":             &c.Tail.Bytes,
		"segment.bytes":              &c.Segment.Bytes, // segment.uploads_max of them
		"cache.memory_bytes_max":     &c.Cache.MemoryBytes,
		"compactor.shard_bytes_max":  &c.Compactor.ShardBytes,
		"compactor.clean_bytes_max":  &c.Compactor.CleanBytes,
		"query.write_bytes_max":      &c.Query.WriteBytes,
		"query.results_bytes_max":    &c.Query.ResultsBytes,
	} {
		lower(key, budget, max(1<<20, int64(float64(*budget)*float64(container)/ampleMemory)))
	}
	// Half of it is for the queries that run at once.
	lower("query.memory_bytes_max", &c.Query.MemoryBytes, max(64<<20, container/2/int64(c.Query.Concurrent)))
}
