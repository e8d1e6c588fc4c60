target "default" {
  dockerfile-inline = <<-EOT
    %{~ for x in ["a", "b"] ~}
    RUN ${x}
    %{~ endfor ~}
    EOT
  args = {
    plain = <<-EOT
      a
        b
      EOT
    trim = <<-EOT
      %{ if true ~}
      x
      %{ endif ~}
      EOT
  }
}
