variable "VAR" {
  default = "v"
}

group "default" {
  targets = ["a"]
}

group "both" {
  targets = ["a", "b"]
}

target "a" {
  description = "First"
  args        = { V = VAR }
  tags        = ["example.com/a:1"]
}

target "b" {
  call    = "outline"
  no-cache = true
}

target "c" {
  output = ["type=local,dest=out"]
  pull   = true
}

target "-x" {}
target "false" {}
target "__complete" {}
