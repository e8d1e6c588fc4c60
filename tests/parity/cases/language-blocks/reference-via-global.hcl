G = target.b.tags
target "b" { tags=["t"] }
target "default" {
  args = {
    v = G[0]
  }
}
