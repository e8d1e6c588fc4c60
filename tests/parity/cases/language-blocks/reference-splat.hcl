target "b" { tags=["t","u"] }
target "default" {
  args = {
    v = join(",", target.b.tags[*])
  }
}
