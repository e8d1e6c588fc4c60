target "b" {}
target "default" {
  args = {
    v = jsonencode([target.b.dockerfile, target.b.tags, target.b.args, target.b.pull, target.b.description, target.b.output, target.b.secret, target.b.ssh, target.b.attest, target.b.cache-from, target.b.resources, target.b.policy])
  }
}
