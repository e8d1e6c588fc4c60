target "b" {
 cache-from=["user/repo", "type=gha,scope=x", {type="local",src="y"}]
 cache-to=["type=inline"]
}
target "default" {
  args = {
    v = jsonencode([target.b.cache-from, target.b.cache-to])
  }
}
