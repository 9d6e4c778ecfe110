package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p-gorpc"
)

// Lab is the service that both sides serve and call. A method gives back what it got, unless it says otherwise.
type Lab struct {
	waiting, cancelled atomic.Int64
}

// Integers has a field of each width and sign.
type Integers struct {
	I8  int8
	I16 int16
	I32 int32
	I64 int64
	U8  uint8
	U16 uint16
	U32 uint32
	U64 uint64
}

// Floats has both.
type Floats struct {
	F32 float32
	F64 float64
}

// Inner is what an Outer is made of.
type Inner struct {
	Name string
	Tags []string
}

// Outer holds values of values.
type Outer struct {
	First Inner
	All   []Inner
	Named map[string]Inner
	Deep  [][]map[string]int64
	Flag  bool
}

// Sparse may lack any of its fields: nil, or not on the wire at all.
type Sparse struct {
	Text    *string
	Number  *int64
	Omitted string  `codec:",omitempty"`
	List    []int64 `codec:",omitempty"`
	Inner   *Inner  `codec:",omitempty"`
}

// Empties are sent as nil by Go, all of them, if they are left as they are.
type Empties struct {
	Text  string
	Bytes []byte
	List  []string
	Map   map[string]string
	Time  time.Time
}

// Pair is how two arguments travel.
type Pair struct {
	A int64
	B int64
}

// Seen says what became of the callers of Hold.
type Seen struct {
	Waiting   int64
	Cancelled int64
}

// Ping takes nothing.
func (l *Lab) Ping(_ context.Context, _ struct{}, reply *string) error {
	*reply = "pong"
	return nil
}

// Nothing takes nothing and gives nothing.
func (l *Lab) Nothing(_ context.Context, _ struct{}, _ *struct{}) error {
	return nil
}

func (l *Lab) Integers(_ context.Context, values Integers, reply *Integers) error {
	*reply = values
	return nil
}

func (l *Lab) Floats(_ context.Context, values Floats, reply *Floats) error {
	*reply = values
	return nil
}

func (l *Lab) Text(_ context.Context, text string, reply *string) error {
	*reply = text
	return nil
}

func (l *Lab) Raw(_ context.Context, bytes []byte, reply *[]byte) error {
	*reply = bytes
	return nil
}

func (l *Lab) Outer(_ context.Context, value Outer, reply *Outer) error {
	*reply = value
	return nil
}

func (l *Lab) Numbers(_ context.Context, values []int64, reply *[]int64) error {
	*reply = values
	return nil
}

func (l *Lab) Table(_ context.Context, table map[string]int64, reply *map[string]int64) error {
	*reply = table
	return nil
}

func (l *Lab) Sparse(_ context.Context, value Sparse, reply *Sparse) error {
	*reply = value
	return nil
}

func (l *Lab) Empties(_ context.Context, value Empties, reply *Empties) error {
	*reply = value
	return nil
}

func (l *Lab) Moment(_ context.Context, moment time.Time, reply *time.Time) error {
	*reply = moment
	return nil
}

// Add takes two arguments.
func (l *Lab) Add(_ context.Context, pair Pair, reply *int64) error {
	*reply = pair.A + pair.B
	return nil
}

// Divide can fail.
func (l *Lab) Divide(_ context.Context, pair Pair, reply *int64) error {
	if pair.B == 0 {
		return errors.New("nothing can be divided by zero")
	}
	*reply = pair.A / pair.B
	return nil
}

// Who says who asks.
func (l *Lab) Who(ctx context.Context, _ struct{}, reply *string) error {
	sender, err := rpc.GetRequestSender(ctx)
	*reply = sender.String()
	return err
}

// Rest answers after so many milliseconds.
func (l *Lab) Rest(ctx context.Context, millis uint64, reply *uint64) error {
	select {
	case <-time.After(time.Duration(millis) * time.Millisecond):
		*reply = millis
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Hold waits until its caller gives up.
func (l *Lab) Hold(ctx context.Context, _ struct{}, _ *struct{}) error {
	l.waiting.Add(1)
	<-ctx.Done()
	l.waiting.Add(-1)
	l.cancelled.Add(1)
	return ctx.Err()
}

// Seen says what became of the callers of Hold.
func (l *Lab) Seen(_ context.Context, _ struct{}, reply *Seen) error {
	*reply = Seen{Waiting: l.waiting.Load(), Cancelled: l.cancelled.Load()}
	return nil
}

// Length of what was sent.
func (l *Lab) Length(_ context.Context, bytes []byte, reply *uint64) error {
	*reply = uint64(len(bytes))
	return nil
}
