package main

import (
	"errors"
	"slices"
	"sync"
	"syscall"
	"time"
)

// result is one line of output.
type result struct {
	Transport string  `json:"transport"`
	Bytes     int     `json:"bytes"`
	Callers   int     `json:"callers"`
	Calls     float64 `json:"calls_per_s"`
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
	P999      float64 `json:"p999_us"`
	CPU       float64 `json:"cpu_us_per_call"`
	Version   string  `json:"version"`
}

// measure calls from so many callers for so long. The first error ends it.
func measure(call func() error, callers int, length time.Duration) (result, error) {
	times := make([][]time.Duration, callers)
	failures := make([]error, callers)
	var running sync.WaitGroup
	cpuBefore, began := cpu(), time.Now()
	end := began.Add(length)
	for i := range callers {
		running.Go(func() {
			for before := time.Now(); before.Before(end) && failures[i] == nil; {
				failures[i] = call()
				now := time.Now()
				times[i] = append(times[i], now.Sub(before))
				before = now
			}
		})
	}
	running.Wait()
	took, used := time.Since(began), cpu()-cpuBefore
	if err := errors.Join(failures...); err != nil {
		return result{}, err
	}
	all := slices.Concat(times...)
	if len(all) == 0 {
		return result{}, errors.New("no call was made in that time")
	}
	slices.Sort(all)
	at := func(part float64) float64 { return micros(all[int(part*float64(len(all)-1))]) }
	return result{
		Calls: float64(len(all)) / took.Seconds(),
		P50:   at(0.5),
		P99:   at(0.99),
		P999:  at(0.999),
		CPU:   micros(used) / float64(len(all)),
	}, nil
}

func micros(d time.Duration) float64 {
	return float64(d.Nanoseconds()) / 1000
}

// cpu is the processor time of this process.
func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
