//! The effect of `--push` and `--load` on the outputs of a target.

use crate::definition::model::{Export, ExportKind, List};
use crate::diag::Spanned;

/// Makes image outputs be pushed, or not be pushed.
///
/// Adds an image output only if the target has no outputs, or only Docker outputs. Other outputs, such as those
/// that write files, are kept unchanged.
pub(super) fn push(outputs: &mut List<Export>, on: &Spanned<bool>) {
    let (on, span) = (on.value, on.span);
    let set_push = |outputs: &mut List<Export>, value: &str| {
        if outputs
            .iter()
            .any(|export| export.kind == ExportKind::Image)
        {
            for export in outputs.make_mut() {
                if export.kind == ExportKind::Image {
                    export.value.attrs.insert("push".into(), value.into());
                }
            }
        }
    };
    if on {
        let only_docker = outputs
            .iter()
            .all(|export| export.kind == ExportKind::Docker);
        set_push(outputs, "true");
        if only_docker {
            let mut image = Export::plain(ExportKind::Image);
            image.attrs.insert("push".into(), "true".into());
            outputs.push(Spanned { value: image, span });
        }
        return;
    }
    if outputs
        .iter()
        .any(|export| export.kind == ExportKind::Registry)
    {
        let list = outputs.make_mut();
        let mut at = 0;
        while at < list.len() {
            if list[at].kind == ExportKind::Registry {
                // As in buildx, the last output moves to the place of the removed one.
                list.swap_remove(at);
            } else {
                at += 1;
            }
        }
    }
    set_push(outputs, "false");
}

/// Adds an output that loads the image into Docker, unless there already is one or the target has outputs that
/// write files.
pub(super) fn load(outputs: &mut List<Export>, on: &Spanned<bool>) {
    if !on.value {
        return;
    }
    let settled = outputs.iter().any(|export| match export.kind {
        ExportKind::Docker => export.dest.is_none(),
        ExportKind::Image | ExportKind::Registry | ExportKind::Oci => false,
        _ => true,
    });
    if !settled {
        outputs.push(Spanned {
            value: Export::plain(ExportKind::Docker),
            span: on.span,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn list(texts: &[&str]) -> List<Export> {
        List::of(
            texts
                .iter()
                .map(|text| Spanned::without_span(Export::from_text(text).unwrap()))
                .collect(),
        )
    }

    #[test_case(&[], &["type=image,push=true"]; "nothing")]
    #[test_case(&["type=image,x=1"], &["type=image,x=1,push=true"]; "image")]
    #[test_case(&["type=registry"], &["type=registry"]; "registry")]
    #[test_case(&["type=local,dest=d"], &["type=local,dest=d"]; "files")]
    #[test_case(&["type=oci"], &["type=oci"]; "layout")]
    #[test_case(&["type=docker"], &["type=docker", "type=image,push=true"]; "docker")]
    #[test_case(&["type=docker", "type=image"], &["type=docker", "type=image,push=true"]; "both")]
    fn push_true_adds_or_changes_outputs(before: &[&str], after: &[&str]) {
        let mut outputs = list(before);
        push(&mut outputs, &Spanned::without_span(true));
        assert_eq!(outputs, list(after));
    }

    #[test_case(&["type=image"], &["type=image,push=false"]; "image")]
    #[test_case(&["type=registry", "type=local,dest=a", "type=local,dest=b"], &["type=local,dest=b", "type=local,dest=a"]; "registry")]
    #[test_case(&["type=registry"], &[]; "nothing left")]
    #[test_case(&["type=docker"], &["type=docker"]; "docker")]
    fn push_false_stops_outputs_from_pushing(before: &[&str], after: &[&str]) {
        let mut outputs = list(before);
        push(&mut outputs, &Spanned::without_span(false));
        assert_eq!(outputs, list(after));
    }

    #[test_case(&[], &["type=docker"]; "nothing")]
    #[test_case(&["type=docker"], &["type=docker"]; "docker")]
    #[test_case(&["type=docker,dest=d"], &["type=docker,dest=d", "type=docker"]; "archive")]
    #[test_case(&["type=registry"], &["type=registry", "type=docker"]; "registry")]
    #[test_case(&["type=oci"], &["type=oci", "type=docker"]; "layout")]
    #[test_case(&["type=image", "type=local,dest=d"], &["type=image", "type=local,dest=d"]; "files")]
    #[test_case(&["type=cacheonly"], &["type=cacheonly"]; "cache")]
    fn load_true_adds_an_output_to_docker(before: &[&str], after: &[&str]) {
        let mut outputs = list(before);
        load(&mut outputs, &Spanned::without_span(true));
        assert_eq!(outputs, list(after));
        let mut outputs = list(before);
        load(&mut outputs, &Spanned::without_span(false));
        assert_eq!(outputs, list(before));
    }
}
