package metastore_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

const ttl = 10 * time.Second

func TestSessionLivesAsLongAsItIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := flaky(t, newMemory(t))
		start := time.Now()
		bs, err := s.Register(t.Context(), metastore.Broker{ID: 1}, ttl)
		require.NoError(t, err)
		require.Equal(t, start.Add(ttl-ttl/10), bs.Deadline())
		time.Sleep(time.Hour) // virtual
		require.True(t, bs.Valid())
		require.NoError(t, bs.Err())
		require.Greater(t, time.Until(bs.Deadline()), ttl/2)
		require.NoError(t, bs.Close(t.Context()))
		require.False(t, bs.Valid())
		require.ErrorIs(t, bs.Err(), metastore.ErrClosed)
		synctest.Wait()
		_, alive := s.Catalog().Broker(1)
		require.False(t, alive, "its key goes at once")
	})
}

// TestSessionIsOverHereBeforeItIsThere: whoever asks Valid before it answers is
// never later than those who see the broker gone.
func TestSessionIsOverHereBeforeItIsThere(t *testing.T) {
	for _, outage := range []string{"keepalive * lose p=1", "* * fail-before p=1", "keepalive * delay=1h p=1", "keepalive * fail-before p=1"} {
		t.Run(outage, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newMemory(t)
				s, use := flaky(t, k)
				other := open(t, k)
				bs, err := s.Register(t.Context(), metastore.Broker{ID: 1}, ttl)
				require.NoError(t, err)
				time.Sleep(25 * time.Second) // virtual
				use(outage)
				deadline := bs.Deadline()

				<-bs.Done()
				require.ErrorIs(t, bs.Err(), metastore.ErrLapsed)
				require.False(t, time.Now().Before(deadline))
				_, alive := other.Catalog().Broker(1)
				require.True(t, alive, "the others come later")
				time.Sleep(ttl) // virtual
				synctest.Wait()
				_, alive = other.Catalog().Broker(1)
				require.False(t, alive)
				use("")
			})
		})
	}
}

func TestValidEndsAtTheDeadlineEvenBeforeDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, use := flaky(t, newMemory(t))
		bs, err := s.Register(t.Context(), metastore.Broker{ID: 1}, ttl)
		require.NoError(t, err)
		use("keepalive * lose p=1")
		time.Sleep(time.Until(bs.Deadline()) - 1)
		require.True(t, bs.Valid())
		time.Sleep(time.Nanosecond)
		require.False(t, bs.Valid())
	})
}

// Two processes that were given one id by mistake are told, instead of fencing
// each other for ever; who comes back with its disk comes in at once.
func TestABrokersIdIsItsDiskSAsLongAsItLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newMemory(t)
		s, other := open(t, k), open(t, k)
		first, err := s.Register(t.Context(), metastore.Broker{ID: 1, Identity: "a", Listeners: []metastore.Listener{{Name: "PLAINTEXT", Host: "first", Port: 9092}}}, ttl)
		require.NoError(t, err)
		_, err = other.Register(t.Context(), metastore.Broker{ID: 1, Identity: "b"}, ttl)
		require.ErrorIs(t, err, metastore.ErrBrokerTaken)
		require.ErrorContains(t, err, "first:9092")
		require.True(t, first.Valid(), "the one that lives is left alone")

		again, err := other.Register(t.Context(), metastore.Broker{ID: 1, Identity: "a"}, ttl)
		require.NoError(t, err, "a restart with the disk does not wait")
		require.Empty(t, first.Former())
		require.Empty(t, again.Former())
		p := topic.Partition{Topic: createTopic(t, other, "t", 1).ID}
		require.NoError(t, other.Commit(t.Context(), again, segment(again, 1, span(p, 0, 1))))
		synctest.Wait()
		require.ErrorIs(t, first.Err(), metastore.ErrFenced)

		// Its machine dies, and somebody puts a new disk in.
		other.Close()
		_, err = s.Register(t.Context(), metastore.Broker{ID: 1, Identity: "c"}, ttl)
		require.ErrorIs(t, err, metastore.ErrBrokerTaken)
		time.Sleep(2 * ttl) // virtual
		third, err := s.Register(t.Context(), metastore.Broker{ID: 1, Identity: "c"}, ttl)
		require.NoError(t, err)
		require.Equal(t, "a", third.Former(), "also after commits")
		require.False(t, again.Valid())
	})
}

func TestShortOutageDoesNotEndASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, use := flaky(t, newMemory(t))
		bs, err := s.Register(t.Context(), metastore.Broker{ID: 1}, ttl)
		require.NoError(t, err)
		use("* * fail-before p=1")
		time.Sleep(8 * time.Second)
		use("")
		time.Sleep(time.Minute)
		require.True(t, bs.Valid())
		require.NoError(t, bs.Close(t.Context()))
	})
}

func TestRegainedSessionStartsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, use := flaky(t, newMemory(t))
		p := topic.Partition{Topic: createTopic(t, s, "orders", 1).ID}
		old, err := s.Register(t.Context(), metastore.Broker{ID: 1}, ttl)
		require.NoError(t, err)
		take(t, s, old, p)
		require.NoError(t, s.Commit(t.Context(), old, segment(old, 1, span(p, 0, 10))))
		use("keepalive * lose p=1")
		<-old.Done()
		use("")

		young, err := s.Register(t.Context(), metastore.Broker{ID: 1}, ttl)
		require.NoError(t, err)
		view := s.Catalog().Partition(p)
		require.False(t, view.OwnerAlive, "the same broker, but another session")
		require.GreaterOrEqual(t, view.Revision, int64(young.ID()))
		require.ErrorIs(t, s.Commit(t.Context(), old, segment(old, 2, span(p, 10, 20))), metastore.ErrFenced)
		owner := take(t, s, young, p)
		require.Equal(t, []metastore.EpochStart{{Epoch: 0, First: 0}, {Epoch: 1, First: 10}}, owner.Starts)
		require.NoError(t, s.Commit(t.Context(), young, segment(young, 1, span(p, 10, 15))), "its sequence begins anew")
		require.NoError(t, young.Close(t.Context()))
	})
}

func TestStoreThatClosesTakesItsSessionsAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newMemory(t)
		s, err := metastore.Open(t.Context(), k, metastore.Options{Cluster: "test"})
		require.NoError(t, err)
		bs, err := s.Register(t.Context(), metastore.Broker{ID: 1}, ttl)
		require.NoError(t, err)
		s.Close()
		<-bs.Done()
		<-s.Done()
		require.ErrorIs(t, s.Err(), metastore.ErrClosed)
		_, err = s.CreateTopic(t.Context(), metastore.Topic{Name: "t", Partitions: 1})
		require.ErrorIs(t, err, metastore.ErrClosed)
		other := open(t, k)
		_, alive := other.Catalog().Broker(1)
		require.True(t, alive, "it lapses, as if the process had died")
		time.Sleep(ttl)
		synctest.Wait()
		_, alive = other.Catalog().Broker(1)
		require.False(t, alive)
	})
}

func TestRegisterRefusesWhatMakesNoSense(t *testing.T) {
	s, _ := openMemory(t)
	_, err := s.Register(t.Context(), metastore.Broker{ID: -1}, ttl)
	require.ErrorIs(t, err, metastore.ErrInvalid)
	_, err = s.Register(t.Context(), metastore.Broker{ID: 1}, 0)
	require.ErrorIs(t, err, metastore.ErrInvalid)
}
