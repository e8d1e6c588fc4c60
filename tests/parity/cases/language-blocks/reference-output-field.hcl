target "b" { output=["type=image"] }
target "default" {
  args = {
    v = target.b.output[0].type
  }
}
