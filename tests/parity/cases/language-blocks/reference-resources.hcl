target "b" {
 resources={memory="1g",cpu-shares=5}
}
target "default" {
  args = {
    v = jsonencode(target.b.resources)
  }
}
