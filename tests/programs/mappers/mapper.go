// Maps a file; obeys `load PAGE`, `store PAGE BYTE`, `sync`; answers `ok` or what it caught.
// With a second argument it asks for a panic instead of the end of the program.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"unsafe"
)

const page = 4096

func obey(memory []byte, line string) (answer string) {
	defer func() {
		if caught := recover(); caught != nil {
			answer = fmt.Sprintf("caught %T", caught)
		}
	}()
	var word string
	var at, value int
	fmt.Sscan(line, &word, &at, &value)
	switch word {
	case "load":
		return fmt.Sprint("ok ", memory[at*page])
	case "store":
		memory[at*page] = byte(value)
		return "ok"
	}
	_, _, failed := syscall.Syscall(syscall.SYS_MSYNC, uintptr(unsafe.Pointer(&memory[0])),
		uintptr(len(memory)), syscall.MS_SYNC)
	if failed != 0 {
		return "caught errno: " + failed.Error()
	}
	return "ok"
}

func main() {
	debug.SetPanicOnFault(len(os.Args) > 2)
	file, err := os.OpenFile(os.Args[1], os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	status, _ := file.Stat()
	memory, err := syscall.Mmap(int(file.Fd()), 0, int(status.Size()),
		syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(obey(memory, in.Text()))
	}
}
