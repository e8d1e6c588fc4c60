target "base" {
  args   = { A = "a", B = "b" }
  labels = { l = "1" }
}
target "webapp" {
  inherits        = ["base"]
  dockerfile      = "Dockerfile.webapp"
  args            = { A = "own" }
  platforms       = ["linux/amd64"]
  tags            = ["t1"]
  annotations     = ["k=v"]
  attest          = ["type=provenance"]
  output          = ["type=tar,dest=x"]
  cache-from      = ["x/c"]
  cache-to        = ["x/c"]
  no-cache        = true
  shm-size        = "128m"
  ulimits         = ["core=1"]
  no-cache-filter = ["s"]
  resources       = { memory = "1g" }
  secret          = ["id=FOO,src=docker-bake.hcl", "id=BAR,env=BAR"]
  contexts        = { a = "./a", b = "./b" }
  policy          = ["filename=a.rego"]
  entitlements    = ["device=x"]
  extra-hosts     = { h = "1.1.1.1" }
}
target "web2" {}
group "g" { targets = ["webapp"] }
