target "b" {
 args={A=null}
}
target "default" {
  args = {
    v = jsonencode(target.b.args)
  }
}
