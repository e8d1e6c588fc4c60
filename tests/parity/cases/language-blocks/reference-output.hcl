target "b" { output=["type=image,push=true", {type="local",dest="x"}] }
target "default" {
  args = {
    v = jsonencode(target.b.output)
  }
}
