target "parent" {
  args = {
    INHERITED = "parent"
    BOTH      = "parent"
  }
  no-cache = true
  shm-size = "64m"
  ulimits  = ["nofile=512:1024"]
  resources = {
    memory      = "1g"
    memory-swap = "3g"
    cpu-shares  = 512
    cpu-period  = 200000
    cpu-quota   = 40000
    cpuset-cpus = "0-1"
    cpuset-mems = "0,2"
  }
  extra-hosts = { box = "9.9.9.9" }
}

target "child" {
  dockerfile  = "child.Dockerfile"
  args        = { BOTH = "child" }
  annotations = ["index,manifest:com.example.author=me"]
  attest      = ["type=provenance,mode=max"]
  platforms   = ["linux/amd64"]
  secret      = ["id=TOKEN,env=TOKEN"]
  inherits    = ["parent"]
}
