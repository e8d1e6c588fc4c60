target "b" { tags=["t","u"] }
target "default" {
  args = {
    v = join(",", [for t in target.b.tags : "x${t}"])
  }
}
