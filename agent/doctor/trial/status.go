package trial

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// statusPair is a socket on which the kernel says who speaks, by the pid that
// this process knows them by.
func statusPair() (hear, say int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("socketpair: %w", err)
	}
	return fds[0], fds[1], unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
}

// listen returns the next message and whose it is; nil when all have closed
// their ends.
func listen(hear int) (m *message, pid int, err error) {
	b, oob := make([]byte, 16), make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	for {
		n, oobn, _, _, err := unix.Recvmsg(hear, b, oob, unix.MSG_CMSG_CLOEXEC)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, 0, fmt.Errorf("recvmsg: %w", err)
		case n == 0:
			return nil, 0, nil
		case n != len(b):
			return nil, 0, fmt.Errorf("a forked child says %d bytes", n)
		}
		all, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(all) != 1 {
			return nil, 0, fmt.Errorf("a forked child speaks without its name: %w", err)
		}
		who, err := unix.ParseUnixCredentials(&all[0])
		if err != nil {
			return nil, 0, err
		}
		return &message{step(binary.NativeEndian.Uint64(b)), binary.NativeEndian.Uint64(b[8:])}, int(who.Pid), nil
	}
}

// await waits until the third child is there, and the others are not any more.
func await(hear, first int) (third int, err error) {
	second := 0
	for second == 0 || third == 0 {
		m, pid, err := listen(hear)
		switch {
		case err != nil:
			return 0, err
		case m == nil:
			return 0, errors.New("a forked child was killed")
		case m.step == stepSecond:
			second = int(m.value)
		case m.step == stepThird:
			third = pid
		default:
			return 0, m.err()
		}
	}
	for _, pid := range []int{first, second} {
		for {
			if _, err := unix.Wait4(pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
				break
			}
		}
	}
	return third, nil
}
