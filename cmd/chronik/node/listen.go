package node

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
)

// portTries is how often a port is looked for that is free on both addresses of
// localhost.
const portTries = 20

// listen opens all addresses of a host and port under one port; port 0 picks
// one. Of localhost a machine may lack IPv6; the other address must do then.
func listen(host string, port int) ([]net.Listener, error) {
	for try := 1; ; try++ {
		listeners, err := listenOnce(config.Addresses(host, port))
		if err == nil {
			return listeners, nil
		}
		if port != 0 || try == portTries || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, err
		}
	}
}

func listenOnce(addresses []string) ([]net.Listener, error) {
	first, err := net.Listen("tcp", addresses[0])
	if err != nil {
		return nil, explainListen(err)
	}
	listeners := []net.Listener{first}
	for _, address := range addresses[1:] {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, errors.Join(err, closeAll(listeners))
		}
		l, err := net.Listen("tcp", net.JoinHostPort(host, fmt.Sprint(portOf(first))))
		switch {
		case err == nil:
			listeners = append(listeners, l)
		case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
			// no IPv6 on this machine
		default:
			return nil, errors.Join(explainListen(err), closeAll(listeners))
		}
	}
	return listeners, nil
}

func explainListen(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w (is another chronik running? port 0 picks a free one)", err)
	}
	return err
}

// portOf is the port that a listener got.
func portOf(l net.Listener) int {
	if address, ok := l.Addr().(*net.TCPAddr); ok {
		return address.Port
	}
	return 0
}

func closeAll(listeners []net.Listener) error {
	var failed []error
	for _, l := range listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}
