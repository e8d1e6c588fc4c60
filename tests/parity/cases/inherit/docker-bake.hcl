target "a" {
  args        = { bar = "1", foo = "1" }
  annotations = ["a=1"]
  cache-from  = ["x/a", "x/b", "x/c"]
  attest      = ["type=provenance,mode=min", "type=sbom"]
  secret      = ["id=s,env=A", "id=t,env=T"]
  labels      = { l = "a" }
  ulimits     = ["core=1"]
  policy      = ["strict=true"]
  resources   = { memory = "1g", cpu-shares = 5 }
  output      = ["type=image"]
}
target "b" {
  inherits    = ["a"]
  args        = { bar = "567" }
  annotations = ["b=1", "a=1"]
  cache-from  = ["x/b", "x/d", "x/a"]
  secret      = ["id=s,env=B"]
  resources   = { memory = "2g" }
}
target "c" {
  inherits  = ["a"]
  args      = { baz = "890" }
  attest    = ["type=provenance,mode=max"]
  resources = { cpuset-cpus = "0" }
  output    = ["type=local,dest=out"]
}
target "d" { inherits = ["b", "c"] }
target "e" { inherits = ["c", "b"] }
target "f" {
  inherits   = ["d"]
  args       = { foo = "f" }
  cache-from = ["x/z", "x/a", "x/z"]
  policy     = ["reset=true"]
}
target "dup" { cache-from = ["x/a", "x/b", "x/a", "x/c", "x/b", "x/d"] }
target "self" {
  inherits = ["self"]
  args     = { x = "1" }
}
target "m1" {
  inherits = ["m2"]
  args     = { v = "1", one = "1" }
}
target "m2" {
  inherits = ["m1"]
  args     = { v = "2", two = "1" }
}
target "m3" { inherits = ["m2", "m1"] }
target "hostly" { network = "host" }
target "unhost" {
  inherits = ["hostly"]
  network  = "none"
}
target "twice" {
  args = { a = "1" }
  tags = ["one"]
}
target "twice" {
  args = { b = "2" }
  tags = ["two"]
  cache-from = ["x/y"]
}
group "g" { targets = ["b", "c", "d"] }
