target "a" {
  contexts = { x = "target:b" }
}
target "b" { output = ["type=local,dest=o"] }
