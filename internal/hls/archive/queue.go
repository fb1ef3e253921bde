package archive

import "sync"

// A queue hands tasks to one writer, in order. Those that are media are refused
// when it is full; the others are few, and are always taken.
type queue struct {
	mu      sync.Mutex
	more    sync.Cond
	begin   func() // a writer
	tasks   []task
	next    int // of tasks: what is before it was taken
	bytes   int // of the media in tasks
	working bool
	resting bool // the writer ends when it has done all there is; the next task begins another
	done    bool
}

func newQueue(begin func()) *queue {
	q := &queue{begin: begin}
	q.more.L = &q.mu
	return q
}

// offer reports whether t was taken.
func (q *queue) offer(t task) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.do == nil && (len(q.tasks)-q.next >= queueLength || q.bytes > queueBytes) || q.done {
		return false
	}
	if q.next > 0 && len(q.tasks) == cap(q.tasks) {
		n := copy(q.tasks, q.tasks[q.next:])
		clear(q.tasks[n:])
		q.tasks, q.next = q.tasks[:n], 0
	}
	q.tasks = append(q.tasks, t)
	q.bytes += t.size()
	if !q.working {
		q.working = true
		q.begin()
	}
	q.more.Signal()
	return true
}

// rest says whether the writer need not wait for more.
func (q *queue) rest(resting bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.resting = resting
	q.more.Signal()
}

// close lets take end once everything was taken.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.done = true
	q.more.Signal()
}

// take waits for the next task; false: the writer is to end.
func (q *queue) take() (task, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.next == len(q.tasks) {
		if q.done || q.resting {
			q.tasks, q.next, q.working = nil, 0, false
			return task{}, false
		}
		q.tasks, q.next = q.tasks[:0], 0
		q.more.Wait()
	}
	t := q.tasks[q.next]
	q.tasks[q.next] = task{}
	q.next++
	q.bytes -= t.size()
	return t, true
}

func (t *task) size() int { return len(t.part.Data) + len(t.part.Tail) }
