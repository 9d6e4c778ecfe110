package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"time"
)

const (
	callsAtOnce = 1000
	bigBody     = 8 << 20
)

// cases are what a client can be told to do.
var cases = map[string]func(context.Context, *caller) error{
	"ping":     ping,
	"nothing":  nothing,
	"integers": integers,
	"floats":   floats,
	"texts":    texts,
	"raw":      raw,
	"outer":    outer,
	"numbers":  numbers,
	"table":    table,
	"sparse":   sparse,
	"empties":  empties,
	"moments":  moments,
	"add":      add,
	"divide":   divide,
	"who":      who,
	"dialect":  dialect,
	"cancel":   cancel,
	"thousand": thousand,
	"big":      big,
	"stream":   stream,
	"unknown_service": func(ctx context.Context, c *caller) error {
		return c.fails(ctx, "Nobody", "Ping", struct{}{})
	},
	"unknown_method": func(ctx context.Context, c *caller) error { return c.fails(ctx, "Lab", "Nope", struct{}{}) },
	"denied":         func(ctx context.Context, c *caller) error { return c.fails(ctx, "Lab", "Ping", struct{}{}) },
	"boom":           func(ctx context.Context, c *caller) error { return c.fails(ctx, "Lab", "Boom", struct{}{}) },
	"wrong_type":     func(ctx context.Context, c *caller) error { return c.fails(ctx, "Lab", "Integers", "a text") },
	"refused_big":    func(ctx context.Context, c *caller) error { return c.fails(ctx, "Lab", "Nope", body(bigBody)) },
	"too_big":        func(ctx context.Context, c *caller) error { return c.fails(ctx, "Lab", "Length", body(bigBody)) },
}

// fails wants an error, whichever.
func (c *caller) fails(ctx context.Context, service, method string, args any) error {
	var reply any
	if err := c.callService(ctx, service, method, args, &reply); err == nil {
		return errors.New("it did not fail")
	}
	return nil
}

// same wants the value back that it sends.
func same[T any](ctx context.Context, c *caller, method string, value T) error {
	var reply T
	if err := c.call(ctx, method, value, &reply); err != nil {
		return err
	}
	if !reflect.DeepEqual(reply, value) {
		return fmt.Errorf("%s: sent %s, got %s", method, short(value), short(reply))
	}
	return nil
}

func short(value any) string {
	text := fmt.Sprintf("%+v", value)
	return text[:min(len(text), 400)]
}

func body(size int) []byte {
	filled := make([]byte, size)
	for i := range filled {
		filled[i] = byte(i * 31 >> 3)
	}
	return filled
}

func ping(ctx context.Context, c *caller) error {
	var reply string
	if err := c.call(ctx, "Ping", struct{}{}, &reply); err != nil {
		return err
	}
	if reply != "pong" {
		return fmt.Errorf("got %q", reply)
	}
	return nil
}

func nothing(ctx context.Context, c *caller) error {
	return c.call(ctx, "Nothing", struct{}{}, &struct{}{})
}

func integers(ctx context.Context, c *caller) error {
	for _, values := range []Integers{
		{},
		{127, 127, 127, 127, 127, 127, 127, 127},
		{-32, -32, -32, -32, 128, 128, 128, 128},
		{-33, -33, -33, -33, 255, 255, 255, 255},
		{-128, -128, -128, -128, 200, 256, 256, 256},
		{100, 128, 128, 128, 1, 65535, 65535, 65535},
		{100, -129, -129, -129, 1, 1, 65536, 65536},
		{1, 32767, 32768, 32768, 1, 1, math.MaxUint32, math.MaxUint32},
		{1, -32768, -32769, -32769, 1, 1, 1, math.MaxUint32 + 1},
		{1, 1, math.MaxInt32, math.MaxInt32 + 1, 1, 1, 1, math.MaxInt64},
		{1, 1, math.MinInt32, math.MinInt32 - 1, 1, 1, 1, math.MaxInt64 + 1},
		{math.MinInt8, math.MinInt16, math.MinInt32, math.MinInt64, 0, 0, 0, 0},
		{math.MaxInt8, math.MaxInt16, math.MaxInt32, math.MaxInt64, math.MaxUint8, math.MaxUint16, math.MaxUint32, math.MaxUint64},
	} {
		if err := same(ctx, c, "Integers", values); err != nil {
			return err
		}
	}
	return nil
}

func floats(ctx context.Context, c *caller) error {
	for _, values := range []Floats{
		{},
		{1.5, -2.25},
		{math.MaxFloat32, math.MaxFloat64},
		{math.SmallestNonzeroFloat32, math.SmallestNonzeroFloat64},
		{float32(math.Inf(1)), math.Inf(-1)},
	} {
		if err := same(ctx, c, "Floats", values); err != nil {
			return err
		}
	}
	return nil
}

func texts(ctx context.Context, c *caller) error {
	for _, size := range []int{0, 1, 31, 32, 255, 256, 65535, 65536, 200000} {
		if err := same(ctx, c, "Text", strings.Repeat("a", size)); err != nil {
			return err
		}
	}
	return same(ctx, c, "Text", "größer – 大きい – 🦀")
}

func raw(ctx context.Context, c *caller) error {
	for _, size := range []int{1, 31, 32, 255, 256, 65535, 65536, 600000} {
		if err := same(ctx, c, "Raw", body(size)); err != nil {
			return err
		}
	}
	return nil
}

func outer(ctx context.Context, c *caller) error {
	one, other := Inner{"one", []string{"a", "b"}}, Inner{"other", []string{"c"}}
	all := make([]Inner, 20)
	for i := range all {
		all[i] = one
	}
	return same(ctx, c, "Outer", Outer{
		First: one,
		All:   all,
		Named: map[string]Inner{"x": one, "y": other},
		Deep:  [][]map[string]int64{{{"k": -1}, {"l": 2}}},
		Flag:  true,
	})
}

func numbers(ctx context.Context, c *caller) error {
	for _, size := range []int{0, 15, 16, 65536} {
		values := make([]int64, size)
		for i := range values {
			values[i] = int64(i) - 1000
		}
		if err := same(ctx, c, "Numbers", values); err != nil {
			return err
		}
	}
	return nil
}

func table(ctx context.Context, c *caller) error {
	for _, size := range []int{0, 15, 16, 1000} {
		values := make(map[string]int64, size)
		for i := range size {
			values[fmt.Sprintf("key %d", i)] = int64(i)
		}
		if err := same(ctx, c, "Table", values); err != nil {
			return err
		}
	}
	return nil
}

func sparse(ctx context.Context, c *caller) error {
	text, number, empty := "here", int64(0), ""
	for _, value := range []Sparse{
		{},
		{Text: &text},
		{Text: &empty, Number: &number},
		{Text: &text, Number: &number, Omitted: "no", List: []int64{1}, Inner: &Inner{"in", []string{"t"}}},
	} {
		if err := same(ctx, c, "Sparse", value); err != nil {
			return err
		}
	}
	return nil
}

// Nil and empty are one to the other side.
func empties(ctx context.Context, c *caller) error {
	for _, value := range []Empties{
		{},
		{Bytes: []byte{}, List: []string{}, Map: map[string]string{}},
	} {
		var reply Empties
		if err := c.call(ctx, "Empties", value, &reply); err != nil {
			return err
		}
		if reply.Text != "" || len(reply.Bytes)+len(reply.List)+len(reply.Map) != 0 || !reply.Time.IsZero() {
			return fmt.Errorf("got %+v", reply)
		}
	}
	return nil
}

func moments(ctx context.Context, c *caller) error {
	for _, moment := range []time.Time{
		{},
		time.Unix(0, 0),
		time.Unix(1_700_000_000, 0),
		time.Unix(1_700_000_000, 123_456_789),
		time.Unix(1<<34-1, 999_999_999),
		time.Unix(1<<34, 1),
		time.Unix(-1, 500_000_000),
		time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC),
	} {
		var reply time.Time
		if err := c.call(ctx, "Moment", moment, &reply); err != nil {
			return fmt.Errorf("%s: %w", moment, err)
		}
		if !reply.Equal(moment) {
			return fmt.Errorf("sent %s, got %s", moment, reply)
		}
	}
	return nil
}

func add(ctx context.Context, c *caller) error {
	var sum int64
	if err := c.call(ctx, "Add", Pair{40, 2}, &sum); err != nil {
		return err
	}
	if sum != 42 {
		return fmt.Errorf("got %d", sum)
	}
	return nil
}

func divide(ctx context.Context, c *caller) error {
	var quotient int64
	if err := c.call(ctx, "Divide", Pair{84, 2}, &quotient); err != nil || quotient != 42 {
		return fmt.Errorf("got %d, %v", quotient, err)
	}
	return c.fails(ctx, "Lab", "Divide", Pair{84, 0})
}

func who(ctx context.Context, c *caller) error {
	var name string
	if err := c.call(ctx, "Who", struct{}{}, &name); err != nil {
		return err
	}
	if name != c.host.ID().String() {
		return fmt.Errorf("I am %s and was taken for %s", c.host.ID(), name)
	}
	return nil
}

// Only a peer that has two can say which dialect it was asked in.
func dialect(ctx context.Context, c *caller) error {
	var name string
	if err := c.call(ctx, "Dialect", struct{}{}, &name); err != nil {
		return err
	}
	if name != "Gorpc" {
		return fmt.Errorf("it was asked in %q", name)
	}
	return nil
}

func cancel(ctx context.Context, c *caller) error {
	before, err := c.seen(ctx)
	if err != nil {
		return err
	}
	holding, giveUp := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- c.client.CallContext(holding, c.there, "Lab", "Hold", struct{}{}, &struct{}{}) }()
	defer giveUp()
	if err := c.until(ctx, func(now Seen) bool { return now.Waiting == before.Waiting+1 }); err != nil {
		return err
	}
	giveUp()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		return fmt.Errorf("the call ended with %v", err)
	}
	return c.until(ctx, func(now Seen) bool { return now.Waiting == before.Waiting && now.Cancelled == before.Cancelled+1 })
}

func (c *caller) seen(ctx context.Context) (now Seen, err error) {
	err = c.call(ctx, "Seen", struct{}{}, &now)
	return now, err
}

func (c *caller) until(ctx context.Context, is func(Seen) bool) error {
	end := time.Now().Add(patience)
	for {
		now, err := c.seen(ctx)
		if err != nil || is(now) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("the other side has seen no more than %+v", now)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func thousand(ctx context.Context, c *caller) error {
	ctx, done := context.WithTimeout(ctx, 2*patience)
	defer done()
	failures := make([]error, callsAtOnce)
	var calls sync.WaitGroup
	for i := range failures {
		calls.Go(func() {
			want, reply := fmt.Sprintf("call %d", i), ""
			failures[i] = c.client.CallContext(ctx, c.there, "Lab", "Text", want, &reply)
			if failures[i] == nil && reply != want {
				failures[i] = fmt.Errorf("%q was answered with %q", want, reply)
			}
		})
	}
	calls.Wait()
	return errors.Join(failures...)
}

func big(ctx context.Context, c *caller) error {
	sent, reply := body(bigBody), []byte(nil)
	if err := c.call(ctx, "Raw", sent, &reply); err != nil {
		return err
	}
	if !bytes.Equal(sent, reply) {
		return fmt.Errorf("%d bytes came back changed", len(reply))
	}
	return nil
}

// A stream that calls a unary method gets one reply.
func stream(ctx context.Context, c *caller) error {
	ctx, done := context.WithTimeout(ctx, patience)
	defer done()
	args, replies := make(chan string, 1), make(chan string, 2)
	args <- "once"
	ended := make(chan error, 1)
	go func() { ended <- c.client.Stream(ctx, c.there, "Lab", "Text", args, replies) }()
	reply, open := <-replies
	close(args)
	if err := <-ended; err != nil {
		return err
	}
	if !open || reply != "once" {
		return fmt.Errorf("got %q", reply)
	}
	if another, open := <-replies; open {
		return fmt.Errorf("got another reply, %q", another)
	}
	return nil
}
