target "p" { args = { a = "1" } }
target "a" {
  inherits = ["p"]
  args     = { a = null }
  labels   = { l = null }
}
