# Every attribute once, in text and object forms.
target "default" {
  description = "all of it"
  inherits    = []
  annotations = ["k=v", "manifest:a=b", "index,manifest-descriptor[linux/arm64]:c=d=e", "k=v"]
  attest = [
    "type=provenance,mode=max",
    { type = "sbom", generator = "a,b", disabled = "false" },
    "type=provenance,\"builder-id=x,y\"",
  ]
  context  = "./dir/../src/"
  contexts = {
    img  = "docker-image://alpine:3"
    loc  = "./a/b/"
    git  = "https://github.com/a/b.git#main:sub"
    gone = ""
  }
  dockerfile        = "./sub/../Dockerfile.x"
  dockerfile-inline = "FROM scratch\nRUN echo $${x} %%{y} <>&"
  args = {
    A = 1, B = true, C = null, D = "$${esc}", E = "%%{esc}", F = "<x>&\u2028", G = ""
  }
  labels = { "a.b" = "$${x}", n = 1.50, none = null }
  tags   = ["a/b:1", 2, true, "a/b:1", "", "<t>"]
  cache-from = [
    "a/b:cache,c/d",
    { type = "local", src = "cc", N = 1 },
    "Type=gha,SCOPE=x",
    "",
  ]
  cache-to = ["type=registry,ref=x/y,mode=max", { type = "inline" }]
  target   = ""
  secret = [
    "id=one,env=HOME",
    { id = "two", src = "docker-bake.hcl" },
    "type=env,id=three,src=PATH",
    { id = "four", env = "X", bogus = "1", type = "env" },
  ]
  platforms = ["linux/amd64", "linux/arm64/v8", "linux/amd64", "linux/386,linux/s390x", "local"]
  output = [
    "out/dir",
    "-",
    "type=image,\"name=a,b\",push=true",
    { type = "oci", dest = "x.tar", "annotation.k" = "v" },
    { type = "docker", tar = false, dest = "layout" },
    "type=cacheonly",
    "",
  ]
  pull            = "1"
  no-cache        = false
  network         = "none"
  no-cache-filter = ["s1", "s2", "s1"]
  shm-size        = "64m"
  ulimits         = ["nofile=1024:2048", "core=-1", "nofile=1024:2048", ""]
  resources = {
    memory = "1g", memory-swap = -1, cpu-shares = 512, cpu-period = "100000", cpu-quota = 5, cpuset-cpus = "0-1", cpuset-mems = 0
  }
  call         = "check"
  entitlements = ["security.insecure", "network.host", "device=x", "whatever"]
  extra-hosts  = { h2 = "1.2.3.4,::1", h1 = "[::1]", h3 = "$${x}", h4 = null }
  policy       = ["filename=extra.rego,strict=true", { filename = "b.rego", reset = true, log-level = "warn" }, ""]
}
target "empty" {}
target "host" { network = "host" }
target "blank" {
  description = ""
  context     = ""
  dockerfile  = ""
  target      = ""
  output      = [""]
  tags        = [""]
  args        = {}
  call        = ""
}
target "oci" { output = ["type=oci"] }
target "unknown" {
  foo = "x"
  tag = ["x"]
}
target "policies" { policy = ["disabled=true", "reset=true"] }
