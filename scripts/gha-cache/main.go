// Command gha-cache is a GitHub Actions cache server (protocol v1) for tests: nektos/act's, on an address of ours.
//
// It prints its URL on one line, then serves until it gets SIGINT or SIGTERM. It knows nothing of tokens: act's
// server guards its store by an unguessable path, which is part of the URL.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/nektos/act/pkg/artifactcache"
	"github.com/sirupsen/logrus"
)

func main() {
	dir := flag.String("dir", "", "folder of the store")
	host := flag.String("host", "127.0.0.1", "address to listen on")
	port := flag.Uint("port", 0, "port to listen on; 0 takes a free one")
	flag.Parse()
	if *dir == "" || *port > 65535 {
		flag.Usage()
		os.Exit(2)
	}

	logger := logrus.New()
	logger.SetOutput(os.Stderr)
	handler, err := artifactcache.StartHandler(*dir, "", *host, uint16(*port), logger)
	if err != nil {
		fmt.Fprintf(os.Stderr, "gha-cache: cannot serve %s: %v\n", *dir, err)
		os.Exit(1)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	fmt.Println(handler.ExternalURL())
	<-stop
	if err := handler.Close(); err != nil {
		fmt.Fprintf(os.Stderr, "gha-cache: %v\n", err)
		os.Exit(1)
	}
}
