// Command docker-config answers, for tests, what buildx reads in Docker's configuration: docker/cli's own reader, asked by
// buildx's own look-up of credentials.
//
// One case a line on stdin, one answer a line on stdout, both JSON. The files of a case lie in its folder already. Helpers
// are found in PATH.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/docker/buildx/store"
	"github.com/docker/buildx/util/confutil"
	"github.com/docker/buildx/util/dockerutil/dockerconfig"
	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/credentials"
	"github.com/docker/cli/cli/config/types"
	"github.com/docker/cli/cli/context/docker"
	contextstore "github.com/docker/cli/cli/context/store"
)

type question struct {
	// The folder that stands for ~/.docker.
	Dir string
	// DOCKER_AUTH_CONFIG; not set where it is null.
	Variable *string
	// PATH, where helpers are found.
	Path string
	Asks []ask
	// Hosts of engines, for the proxies.
	Engines []string
	// Names of builders in buildx's store.
	Builders []string
	// Names of Docker's contexts.
	Contexts []string
}

type ask struct {
	Host   string
	Scopes []string
}

type credential struct {
	Username      string
	Password      string
	IdentityToken string
	RegistryToken string
	// The entry it comes from, where that is known.
	Key string `json:",omitempty"`
	// Why there is none.
	Error string `json:",omitempty"`
}

type answer struct {
	// The reader's complaint about the file, empty where it has none.
	Complaint string
	// Its complaint about the variable.
	VariableComplaint string
	// For each ask all that buildx answers: more than one where the order of a Go map decides.
	Answers [][]credential
	// The same without the variable.
	WithoutVariable [][]credential
	// For each ask what the entries of its host hold, read one by one, so that one that is wrong spoils no other.
	Entries [][]credential
	// The same for the variable.
	VariableEntries [][]credential
	// For each ask what the helper says that the file names for it; null where it names none.
	Helpers        []*credential
	CurrentContext string
	Proxies        []map[string]string
	Builders       []builder
	Contexts       []dockerContext
}

type builder struct {
	Driver string
	// One line for each node.
	Nodes []string
	Error bool
}

type dockerContext struct {
	Host          string
	SkipTLSVerify bool
	Error         bool
}

// The part of the docker command that buildx asks for its configuration.
type cli struct {
	command.Cli
	file *configfile.ConfigFile
}

func (c *cli) ConfigFile() *configfile.ConfigFile { return c.file }

// A map's order shows itself in this many tries: of two entries one stays hidden once in 2^15.
const tries = 16

func main() {
	// docker/cli complains on stderr about what is in the variable.
	complaints, err := os.CreateTemp("", "docker-config-")
	check(err)
	check(os.Remove(complaints.Name()))
	stderr := os.Stderr
	os.Stderr = complaints

	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var q question
			if err := json.Unmarshal(line, &q); err != nil {
				fmt.Fprintf(stderr, "docker-config: %v\n", err)
				os.Exit(1)
			}
			text, err := json.Marshal(answerTo(q, complaints))
			check(err)
			out.Write(append(text, '\n'))
			check(out.Flush())
		}
		if errors.Is(err, io.EOF) {
			return
		}
		check(err)
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func answerTo(q question, complaints *os.File) answer {
	config.SetDir(q.Dir)
	os.Setenv("PATH", q.Path)
	os.Unsetenv("BUILDX_CONFIG")
	os.Unsetenv(configfile.DockerEnvConfigKey)
	var a answer
	_, err := config.Load(q.Dir)
	if err != nil {
		a.Complaint = err.Error()
	}
	var ignored bytes.Buffer
	file := config.LoadDefaultConfigFile(&ignored)
	a.CurrentContext = file.CurrentContext
	for _, engine := range q.Engines {
		a.Proxies = append(a.Proxies, proxies(file, engine))
	}
	mended := mend(q.Dir)
	var variable map[string]string
	if q.Variable != nil {
		os.Setenv(configfile.DockerEnvConfigKey, *q.Variable)
		variable = auths(*q.Variable)
	}
	check(complaints.Truncate(0))
	_, err = complaints.Seek(0, io.SeekStart)
	check(err)
	file.GetCredentialsStore("none.example")
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", complaints.Fd()))
	check(err)
	a.VariableComplaint = string(text)
	for _, ask := range q.Asks {
		os.Unsetenv(configfile.DockerEnvConfigKey)
		a.WithoutVariable = append(a.WithoutVariable, answers(ask))
		if q.Variable != nil {
			os.Setenv(configfile.DockerEnvConfigKey, *q.Variable)
		}
		a.Answers = append(a.Answers, answers(ask))
		a.Entries = append(a.Entries, entries(mended, ask.Host))
		a.VariableEntries = append(a.VariableEntries, entries(decoded(variable), ask.Host))
		a.Helpers = append(a.Helpers, helper(file, ask.Host))
	}
	os.Unsetenv(configfile.DockerEnvConfigKey)
	for _, name := range q.Builders {
		a.Builders = append(a.Builders, builderOf(file, name))
	}
	for _, name := range q.Contexts {
		a.Contexts = append(a.Contexts, contextOf(name))
	}
	return a
}

// All that buildx's look-up answers. Each try reads the file anew.
func answers(ask ask) []credential {
	seen := map[credential]bool{}
	for i := 0; i < tries; i++ {
		file := config.LoadDefaultConfigFile(io.Discard)
		load := dockerconfig.LoadAuthConfig(&cli{file: file})
		found, err := load(context.Background(), ask.Host, ask.Scopes, nil)
		seen[shown(found, err, "")] = true
		// A helper answers the same each time, and takes its time.
		if file.CredentialsStore != "" || len(file.CredentialHelpers) > 0 {
			break
		}
	}
	all := make([]credential, 0, len(seen))
	for one := range seen {
		all = append(all, one)
	}
	sort.Slice(all, func(i, j int) bool { return fmt.Sprint(all[i]) < fmt.Sprint(all[j]) })
	return all
}

func shown(found types.AuthConfig, err error, key string) credential {
	if err != nil {
		return credential{Error: err.Error(), Key: key}
	}
	out := credential{found.Username, found.Password, found.IdentityToken, found.RegistryToken, key, ""}
	for _, text := range []string{out.Username, out.Password, out.IdentityToken, out.RegistryToken} {
		// The answer to the daemon could not be encoded.
		if !utf8.ValidString(text) {
			return credential{Error: "not UTF-8", Key: key}
		}
	}
	return out
}

// The file's entries, each read by itself.
func mend(dir string) map[string]types.AuthConfig {
	data, err := os.ReadFile(filepath.Join(dir, config.ConfigFileName))
	if err != nil {
		return nil
	}
	// The reader fills in what it can before it reports a wrong type; `auth` is decoded only where there is none.
	var file configfile.ConfigFile
	var wrong *json.UnmarshalTypeError
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&file); err != nil && !errors.As(err, &wrong) {
		return nil
	}
	mended := map[string]types.AuthConfig{}
	for key, entry := range file.AuthConfigs {
		if one, ok := alone(key, entry); ok {
			mended[key] = one
		}
	}
	return mended
}

func alone(key string, entry types.AuthConfig) (types.AuthConfig, bool) {
	text, err := json.Marshal(map[string]any{"auths": map[string]any{"key": entry}})
	check(err)
	file, err := config.LoadFromReader(bytes.NewReader(text))
	if err != nil {
		return types.AuthConfig{}, false
	}
	one := file.AuthConfigs["key"]
	one.ServerAddress = key
	return one, true
}

func keyOf(host string) string {
	if host == "registry-1.docker.io" || host == "docker.io" || host == "index.docker.io" {
		return "https://index.docker.io/v1/"
	}
	return host
}

// The entries of a host.
func entries(auths map[string]types.AuthConfig, host string) []credential {
	key := keyOf(host)
	out := []credential{}
	for name, entry := range auths {
		if name == key || credentials.ConvertToHostname(name) == key {
			out = append(out, shown(entry, nil, name))
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Key < out[j].Key })
	return out
}

func helper(file *configfile.ConfigFile, host string) *credential {
	key := keyOf(host)
	name, ok := file.CredentialHelpers[key]
	if !ok {
		name = file.CredentialsStore
	}
	if name == "" {
		return nil
	}
	found, err := credentials.NewNativeStore(configfile.New(""), name).Get(key)
	out := shown(found, err, name)
	return &out
}

func auths(text string) map[string]string {
	var document struct {
		Auths map[string]struct{ Auth string }
	}
	var wrong *json.UnmarshalTypeError
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&document); err != nil && !errors.As(err, &wrong) {
		return nil
	}
	out := map[string]string{}
	for key, entry := range document.Auths {
		out[key] = entry.Auth
	}
	return out
}

func decoded(auths map[string]string) map[string]types.AuthConfig {
	out := map[string]types.AuthConfig{}
	for key, auth := range auths {
		if one, ok := alone(key, types.AuthConfig{Auth: auth}); ok {
			out[key] = one
		}
	}
	return out
}

// As buildx makes build arguments of them (`store/storeutil`, `GetProxyConfig`, which needs a client of an Engine).
func proxies(file *configfile.ConfigFile, host string) map[string]string {
	out := map[string]string{}
	proxy, ok := file.Proxies[host]
	if !ok {
		proxy = file.Proxies["default"]
	}
	for name, value := range map[string]string{"HTTP_PROXY": proxy.HTTPProxy, "HTTPS_PROXY": proxy.HTTPSProxy, "NO_PROXY": proxy.NoProxy, "FTP_PROXY": proxy.FTPProxy} {
		if value != "" {
			out[name] = value
		}
	}
	return out
}

func builderOf(file *configfile.ConfigFile, name string) builder {
	s, err := store.New(confutil.NewConfig(&cli{file: file}))
	check(err)
	txn, release, err := s.Txn()
	check(err)
	defer release()
	group, err := txn.NodeGroupByName(name)
	if err != nil {
		return builder{Error: true}
	}
	out := builder{Driver: group.Driver, Nodes: []string{}}
	for _, node := range group.Nodes {
		options := make([]string, 0, len(node.DriverOpts))
		for key, value := range node.DriverOpts {
			options = append(options, key+"="+value)
		}
		sort.Strings(options)
		out.Nodes = append(out.Nodes, strings.Join(append([]string{node.Name, node.Endpoint}, options...), "\n"))
	}
	return out
}

func contextOf(name string) dockerContext {
	contexts := contextstore.New(config.ContextStoreDir(), command.DefaultContextStoreConfig())
	metadata, err := contexts.GetMetadata(name)
	if err != nil {
		return dockerContext{Error: true}
	}
	endpoint, err := docker.EndpointFromContext(metadata)
	if err != nil {
		return dockerContext{Error: true}
	}
	return dockerContext{Host: endpoint.Host, SkipTLSVerify: endpoint.SkipTLSVerify}
}
