variable "NULL" { default = null }
target "allowed" {
  inherits          = null
  annotations       = null
  context           = null
  contexts          = null
  dockerfile        = null
  dockerfile-inline = null
  args              = null
  labels            = null
  tags              = null
  target            = null
  platforms         = null
  pull              = null
  no-cache          = null
  network           = null
  no-cache-filter   = null
  shm-size          = null
  ulimits           = null
  call              = null
  entitlements      = null
  extra-hosts       = null
}
target "entries" {
  args   = { A = NULL, B = "${NULL == null ? "n" : "v"}" }
  labels = { l = NULL }
  resources = { memory = null, cpu-shares = 1 }
  secret = [{ id = "HOME", src = null, env = "HOME" }]
  policy = [{ filename = "a", strict = null, reset = "" }]
}
target "base" {
  args = { a = "1", b = "2" }
  tags = ["x"]
  platforms = ["linux/amd64"]
  output = ["type=image"]
  cache-to = ["x/y"]
  cache-from = ["x/y"]
}
target "child" {
  inherits = ["base"]
  args = { a = null }
  tags = []
  platforms = []
  output = []
  cache-to = []
  cache-from = []
}
# An empty list of outputs is forgotten once it has been inherited; one of tags is not.
target "cleared" { 
  output = []
  tags = []
}
target "mixed" { inherits = ["base", "cleared"] }
