target "b" {
 tags=null
}
target "default" {
  args = {
    v = jsonencode(target.b.tags)
  }
}
