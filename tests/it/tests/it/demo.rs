use std::process::Command;

use crate::program;

#[test]
fn the_demonstration_shows_what_stands_and_ends_well() {
    let shown = Command::new(program()).env_remove("_HANDLER").output().unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success(), "{text}\n{}", String::from_utf8_lossy(&shown.stderr));
    for expected in [
        "Custom::EcrRepository      arn:aws:ecr:us-east-1:123456789012:repository/infrastructure",
        "create it with IMMUTABLE tags, scanned on push, encrypted with KMS; put the lifecycle policy",
        "tags            IMMUTABLE",
        "scanned on push yes",
        "encrypted with  KMS",
        "lifecycle 1: Expire untagged images 7 days after their push",
        "ecr:GetAuthorizationToken",
        "infrastructure:litellm-1.80.5 is not made of {component}-v{semver}: tag the image",
        "calls of AWS: none",
        "Subject: infrastructure:litellm-1.80.5 was quarantined",
        "Restore it as litellm-v1.80.5:",
        "\"action\": \"quarantined\"",
        "Subject: An image was pushed to scratch, a name that is not expected",
        "aws ecr get-login-password --region us-east-1 | docker login --username AWS",
        "Subject: 2 findings in infrastructure:litellm-v1.80.5: 2 HIGH",
        "Subject: 1 new finding in infrastructure:litellm-v1.80.6: 1 CRITICAL",
        "- HIGH CVE-2026-30911: until 2099-12-31 (not reachable; platform)",
        "CRITICAL: 1 new finding in infrastructure:litellm-v1.80.6: 1 CRITICAL",
        "Subject: infrastructure:litellm-v1.80.7 has no open findings any more",
        "ECR says FAILED (UnsupportedImageError",
        "The image is in use by 3 tasks or pods.",
        "myapp-v1.0.4                    archive   number 13 of 17 of myapp, which keeps 10",
        "myapp-prod myapp-v1.0.2         keep      the channel myapp-prod points at it",
        "myapp-v1.0.1-lts                keep      the tag myapp-v1.0.1-lts is protected by *-lts",
        "billing-v0.9.0                  keep      number 1 of 1 of billing, which keeps 10",
        "keep: it was pulled on ",
        "in the archive of deployments now: 7, as planned",
        "Subject: 7 images of deployments went to the archive",
        "INFORMATIONAL: 7 images of deployments went to the archive",
        ", and its 14 days are over",
        ": untag: the image conforms by now, and is not in quarantine any more",
        "told: 1 image of deployments went to the archive",
        "Nothing was removed: 35 of 65 images would go, and MaxRemovePercent=25 allows fewer.",
        "told: 35 images of deployments went to the archive",
        "- the tags are MUTABLE, and the policy says IMMUTABLE",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing:\n{text}");
    }
}
