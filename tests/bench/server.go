package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// counters reads the server's metrics; those with labels are summed.
func (b *bench) counters() (map[string]float64, error) {
	if b.http == "" {
		return nil, nil
	}
	answer, err := http.Get("http://" + b.http + "/metrics")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	sums := map[string]float64{}
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		line := lines.Text()
		at := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || at < 0 {
			continue
		}
		name, _, _ := strings.Cut(line[:at], "{")
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			continue
		}
		sums[name] += value
	}
	return sums, nil
}

// usage is the CPU time of server and client at one moment.
type usage struct {
	pid            int
	server, client time.Duration
}

func (b *bench) usage() usage {
	u := usage{pid: b.pid, server: serverCPU(b.pid)}
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err == nil {
		u.client = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return u
}

// since says how many cores were busy, and the server's memory now.
func (u usage) since(d time.Duration) string {
	now := (&bench{options: options{pid: u.pid}}).usage()
	text := fmt.Sprintf("client %.2f cores", (now.client-u.client).Seconds()/d.Seconds())
	if u.pid == 0 {
		return text
	}
	return fmt.Sprintf("server %.2f cores, %s; %s", (now.server-u.server).Seconds()/d.Seconds(), resident(u.pid), text)
}

func serverCPU(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const userAt, systemAt, ticks = 11, 12, 100
	user, _ := strconv.Atoi(string(fields[userAt]))
	system, _ := strconv.Atoi(string(fields[systemAt]))
	return time.Duration(user+system) * time.Second / ticks
}

func resident(pid int) string {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "memory unknown"
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.Atoi(strings.Fields(rest)[0])
			return fmt.Sprintf("%d MB resident", kb>>10)
		}
	}
	return "memory unknown"
}

// sql measures a few statements over the shop's topics, if the demo made them.
func (b *bench) sql(ctx context.Context) error {
	for _, query := range []string{
		"SELECT count(*) FROM orders",
		"SELECT country, count(*), sum(amount) FROM orders GROUP BY country ORDER BY 2 DESC",
		"SELECT count(*) FROM page_views WHERE _value LIKE '%checkout%'",
	} {
		var all []time.Duration
		for range 20 {
			took, err := b.ask(ctx, query)
			if err != nil {
				return err
			}
			all = append(all, took)
		}
		b.report("`"+query+"`", "", "%s", quantiles(all))
	}
	return nil
}

func (b *bench) ask(ctx context.Context, query string) (time.Duration, error) {
	body, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+b.http+"/_sql", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	var result map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&result); err != nil {
		return 0, err
	}
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %v", answer.Status, result["error"])
	}
	return time.Since(begun), nil
}
