G = target.b.tags
target "b" { tags=G }
target "default" {
  args = {
    v = G[0]
  }
}
