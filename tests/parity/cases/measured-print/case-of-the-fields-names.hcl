target "default" {
  output     = ["type=image,Name=N,PUSH=true", { type = "image", Name = "N", PUSH = true }]
  cache-from = ["type=gha,SCOPE=S", { type = "gha", SCOPE = "S" }, "TYPE=gha,Scope=x"]
}
