target "default" {
  dockerfile-inline = <<EOT
ARG V=1
FROM alpine:$${V}
EOT
  args        = { V = "3", W = "$${x} %%{y} $ % $$ {z}" }
  annotations = ["a=$${user}", "b=%%{x}"]
  labels      = { l = "%%{if} $${x}" }
  extra-hosts = { h = "$${x}" }
  tags        = ["x:$${x}"]
  context     = "$${c}"
  contexts    = { c = "$${c}" }
}
