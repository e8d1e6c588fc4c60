target "b" {
 policy=[{filename="x",strict=true},"reset=true"]
}
target "default" {
  args = {
    v = jsonencode(target.b.policy)
  }
}
